const FORMAT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** A time, in milliseconds since the epoch, as the reader writes it. */
export function When({ time }: { time: number }) {
  const date = new Date(time);
  return <time dateTime={date.toISOString()}>{FORMAT.format(date)}</time>;
}
