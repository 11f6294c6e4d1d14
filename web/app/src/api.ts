import type { paths } from "./openapi.ts";

/** The types of every hook come from the OpenAPI document. */
declare module "cubby-client" {
  interface Register {
    paths: paths;
  }
}
