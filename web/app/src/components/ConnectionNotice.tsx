import { useConnection } from "cubby-client";

const MESSAGES = {
  offline: "You are offline. Your changes will be saved when you are back online.",
  online: "",
  paused: "Live updates are paused. Changes made elsewhere may appear late.",
  slow: "This is taking longer than usual.",
  unreachable: "The server cannot be reached. Retrying…",
};

/** Shows that the API responds slowly or not at all, or that updates are not live. */
export function ConnectionNotice() {
  const connection = useConnection();
  return (
    <p role="status" className={`connection ${connection}`}>
      {MESSAGES[connection]}
    </p>
  );
}
