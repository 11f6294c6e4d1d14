import type { ReactNode } from "react";

interface Props {
  children: ReactNode;
  onDismiss?: () => void;
  onRetry?: () => void;
}

/** An error, with buttons to retry and to dismiss it. */
export function Notice({ children, onDismiss, onRetry }: Props) {
  return (
    <div className="notice" role="alert">
      <div>{children}</div>
      {onRetry && (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      )}
      {onDismiss && (
        <button type="button" onClick={onDismiss}>
          Dismiss
        </button>
      )}
    </div>
  );
}
