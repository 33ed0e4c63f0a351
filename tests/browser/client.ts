// A client of the API as a frontend writes it, on types made from the document.
import createClient from "openapi-fetch";
import type { components, paths } from "./api";

type Cloud = components["schemas"]["Cloud"];

const [base, key] = process.argv.slice(2);
const api = createClient<paths>({ baseUrl: base, headers: { Authorization: `Bearer ${key}` } });

function given<T>(answer: { data?: T; error?: { code: string; detail: string } }): T {
  if (answer.error !== undefined) throw new Error(`${answer.error.code}: ${answer.error.detail}`);
  if (answer.data === undefined) throw new Error("an empty answer");
  return answer.data;
}

const made = given(
  await api.POST("/v1/clouds", {
    body: { name: "from typescript", properties: { colour: "red" } },
    params: { header: { "Idempotency-Key": crypto.randomUUID() } },
  }),
) as Cloud;
const path = { cloud_id: made.id };
const changed = given(
  await api.PATCH("/v1/clouds/{cloud_id}", { body: { properties: { colour: "blue" } }, params: { path } }),
);
const listed = given(await api.GET("/v1/clouds", { params: { query: { limit: 200, sort: "name" } } }));
const found = listed.items.some((one) => one.id === made.id);
const refused = await api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: made.id } } });
const code: string | undefined = refused.error?.code;
await api.DELETE("/v1/clouds/{cloud_id}", { params: { path } });
console.log(JSON.stringify({ name: made.name, properties: changed.properties, found, code }));
