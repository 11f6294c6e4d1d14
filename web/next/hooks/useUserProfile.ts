export { useUserProfile } from "cubby-client";
