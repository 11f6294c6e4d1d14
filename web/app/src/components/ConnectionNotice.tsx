import { useConnection } from "cubby-client";

const MESSAGES = {
  offline: "You are offline. Your changes will be saved when you are back online.",
  online: "",
  slow: "This is taking longer than usual.",
  unreachable: "The server cannot be reached. Retrying…",
};

/** Shows that the API responds slowly or not at all. */
export function ConnectionNotice() {
  const connection = useConnection();
  return (
    <p role="status" className={`connection ${connection}`}>
      {MESSAGES[connection]}
    </p>
  );
}
