import { serverApi } from "cubby-client/server";

const { API_URL = "http://127.0.0.1:9000", TOKEN = "" } = process.env;
const api = serverApi({ baseUrl: API_URL, getToken: async () => TOKEN });

const report = await api.post("/chats", { body: { title: "Report" } });
await api.patch("/chats/{id}", { id: report.id, version: report.version, body: { title: "Weekly report" } });
const { chats } = await api.get("/chats", { query: { limit: 20 } });
for (const chat of chats) console.log(chat.title);
await api.delete("/chats/{id}", { id: report.id });
