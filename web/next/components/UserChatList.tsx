"use client";

import type { ApiError, Item, PreloadedList } from "cubby-client";
import { useState } from "react";

import { EditChatTitle } from "@/components/EditChatTitle";
import { useChats, useCreateChat, useDeleteChat } from "@/hooks/useChats";
import { useUserProfile } from "@/hooks/useUserProfile";

/** The user's chats: first those that the server has read, then live. */
export function UserChatList({ preloaded }: { preloaded: PreloadedList<"/chats"> | null }) {
  const { profile } = useUserProfile();
  const { chats, status, loadMore, error } = useChats({ preloaded });
  const [createChat, deleteChat] = [useCreateChat(), useDeleteChat()];
  const [edited, setEdited] = useState<Item<"/chats">>();
  const [problem, setProblem] = useState<ApiError>();
  const attempt = (change?: Promise<unknown>) => {
    setEdited(undefined);
    setProblem(undefined);
    change?.catch(setProblem);
  };
  const items = chats.map((chat) => (
    <li key={chat.id} className="chat line" aria-busy={chat.isPending}>
      {chat.id === edited?.id ? (
        <EditChatTitle chat={edited} onComplete={attempt} />
      ) : (
        <>
          <span className="title">{chat.title}</span>
          <button type="button" aria-label={`Rename ${chat.title}`} onClick={() => setEdited(chat)}>
            Rename
          </button>
          <button type="button" aria-label={`Delete ${chat.title}`} onClick={() => attempt(deleteChat(chat))}>
            Delete
          </button>
        </>
      )}
    </li>
  ));
  return (
    <>
      <h1>Chats of {profile?.firstName ?? profile?.email}</h1>
      <button type="button" className="primary" onClick={() => attempt(createChat({ title: "New Chat" }))}>
        New Chat
      </button>
      <p role="alert">{(problem ?? error)?.message}</p>
      <ul className="chats">{items}</ul>
      <button type="button" onClick={loadMore} hidden={status === "Exhausted"}>
        Load more
      </button>
    </>
  );
}
