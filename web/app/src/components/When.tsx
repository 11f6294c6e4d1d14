const FORMAT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A time, in milliseconds since the epoch, in the format of the user's locale. */
export function When({ time }: { time: number }) {
  const date = new Date(time);
  return <time dateTime={date.toISOString()}>{FORMAT.format(date)}</time>;
}
