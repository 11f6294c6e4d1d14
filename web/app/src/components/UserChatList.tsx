import type { ApiError } from "cubby-client";
import { useRef, useState } from "react";

import { useChats, useCreateChat } from "../resources/chats.ts";
import { ChatItem } from "./ChatItem.tsx";
import { Notice } from "./Notice.tsx";
import { Spinner } from "./Spinner.tsx";

/** The user's chats, with a button that loads more of them. */
export function UserChatList() {
  const { chats, status, loadMore, error } = useChats();
  const createChat = useCreateChat();
  const [problem, setProblem] = useState("");
  const newChat = useRef<HTMLButtonElement>(null);

  const handleNewChat = () => {
    setProblem("");
    createChat({ title: "New Chat" }).catch((error: ApiError) =>
      setProblem(`Couldn't create the chat. ${error.message}`),
    );
  };

  const handleRemove = (removal: Promise<string>) => {
    // The focused button disappears with its chat.
    newChat.current?.focus();
    setProblem("");
    void removal.then((why) => why && setProblem(why));
  };

  if (status === "LoadingFirstPage") {
    return error ? <Notice onRetry={loadMore}>{error.message}</Notice> : <Spinner label="Loading your chats" />;
  }
  return (
    <>
      <button ref={newChat} type="button" className="primary" onClick={handleNewChat}>
        <span aria-hidden="true">+</span> New Chat
      </button>
      {problem && <Notice onDismiss={() => setProblem("")}>{problem}</Notice>}
      {chats.length === 0 ? (
        <p className="empty">No chats yet. Create your first chat!</p>
      ) : (
        <ul className="chats" aria-label="Chats">
          {chats.map((chat) => (
            <ChatItem key={chat.id} chat={chat} onRemove={handleRemove} />
          ))}
        </ul>
      )}
      {error && <Notice onRetry={loadMore}>{error.message}</Notice>}
      {status !== "Exhausted" && (
        <button type="button" onClick={loadMore} disabled={status === "LoadingMore"}>
          {status === "LoadingMore" ? "Loading…" : "Load more"}
        </button>
      )}
    </>
  );
}
