import { useConnection } from "clerk-backend-client";

const SAY = {
  offline: "You are offline. Your changes wait until you are back.",
  online: "",
  slow: "This takes longer than usual.",
  unreachable: "The server cannot be reached. It is tried again and again.",
};

/** Tells when the API is far away. */
export function ConnectionNotice() {
  const connection = useConnection();
  return (
    <p role="status" className={`connection ${connection}`}>
      {SAY[connection]}
    </p>
  );
}
