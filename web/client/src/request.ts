/** The number of items of a page, unless the caller wants another. */
export const PAGE_SIZE = 50;

/** The path of a template, with the values of its parameters. */
export const pathOf = (template: string, parameters: Readonly<Record<string, unknown>>): string =>
  template.replace(/\{(.+?)\}/g, (_, name) => encodeURIComponent(`${parameters[name]}`));

/** What `fetch` accepts for a request. With `version`, the API rejects it if the item has another one. */
export const initOf = (method: string, body: object | undefined, version: number | undefined) => ({
  method,
  headers: {
    ...(body && { "content-type": "application/json" }),
    ...(version && { "if-match": `"${version}"` }),
  },
  body: body ? JSON.stringify(body) : null,
});
