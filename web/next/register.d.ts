import type { paths } from "../app/src/openapi.ts";

/** The types of the API come from its OpenAPI document. */
declare module "cubby-client" {
  interface Register {
    paths: paths;
  }
}
