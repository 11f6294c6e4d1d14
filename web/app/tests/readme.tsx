import { useAuth } from "@clerk/react";
import { ApiProvider, Authenticated, createResourceHooks } from "cubby-client";

const { useList: useChats, useCreate: useCreateChat } = createResourceHooks("/chats", "chats");

export const Api = () => (
  <ApiProvider baseUrl={import.meta.env.VITE_API_URL ?? ""} liveUrl={import.meta.env.VITE_LIVE_URL} useAuth={useAuth}>
    <Authenticated>
      <Chats />
    </Authenticated>
  </ApiProvider>
);

function Chats() {
  const { chats } = useChats();
  const createChat = useCreateChat();
  const create = () => createChat({ title: "New Chat" }).catch((error) => alert(error.message));
  const items = chats.map((chat) => <li key={chat.id}>{chat.title}</li>);
  return (
    <main>
      <button type="button" onClick={create}>
        New Chat
      </button>
      <ul>{items}</ul>
    </main>
  );
}
