/** Says what is being waited for. */
export function Spinner({ label }: { label: string }) {
  return (
    <div className="spinner" role="status">
      <span className="circle" aria-hidden="true" />
      <span className="visually-hidden">{label}</span>
    </div>
  );
}
