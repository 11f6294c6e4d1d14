/** Shows that the page is loading. `label` names the operation for screen readers. */
export function Spinner({ label }: { label: string }) {
  return (
    <div className="spinner" role="status">
      <span className="circle" aria-hidden="true" />
      <span className="visually-hidden">{label}</span>
    </div>
  );
}
