// The recipes of web/client/README.md, which a test compares with this file.
import { useAuth } from "@clerk/react";
import { ApiError, Unauthenticated, useAuthState, useConnection, useUserProfile } from "cubby-client";
import { type ReactNode, useEffect, useState } from "react";

import { useChats, useCreateChat, useDeleteChat, useUpdateChat } from "../src/resources/chats.ts";

export function ChatList() {
  const { chats, status, loadMore, error } = useChats({ pageSize: 20 });
  if (status === "LoadingFirstPage") return error ? <Failure error={error} onRetry={loadMore} /> : <p>Loading…</p>;
  return (
    <>
      <ul>
        {chats.map((chat) => (
          <li key={chat.id} aria-busy={chat.isPending}>
            {chat.title}
          </li>
        ))}
      </ul>
      {error && <Failure error={error} onRetry={loadMore} />}
      {status !== "Exhausted" && (
        <button type="button" onClick={loadMore} disabled={status === "LoadingMore"}>
          Load more
        </button>
      )}
    </>
  );
}

function Failure({ error, onRetry }: { error: ApiError; onRetry: () => void }) {
  return (
    <p role="alert">
      {error.message}{" "}
      <button type="button" onClick={onRetry}>
        Retry
      </button>
    </p>
  );
}

export function NewChat() {
  const createChat = useCreateChat();
  const [problem, setProblem] = useState("");
  const create = () => {
    setProblem("");
    createChat({ title: "New Chat" }).catch((error: ApiError) => setProblem(error.message));
  };
  return (
    <>
      <button type="button" onClick={create}>
        New Chat
      </button>
      {problem && <p role="alert">The chat was not created: {problem}</p>}
    </>
  );
}

type Chat = ReturnType<typeof useChats>["chats"][number];

export function RenameButton({ chat, title }: { chat: Pick<Chat, "id" | "version">; title: string }) {
  const updateChat = useUpdateChat();
  const [current, setCurrent] = useState<Pick<Chat, "id" | "title" | "version">>();
  const rename = (version: Pick<Chat, "id" | "version">) => {
    setCurrent(undefined);
    updateChat(version, { title }).catch((error: ApiError<Chat>) => setCurrent(error.current));
  };
  if (!current) {
    return (
      <button type="button" onClick={() => rename(chat)}>
        Rename
      </button>
    );
  }
  return (
    <p role="alert">
      This chat was renamed to “{current.title}” elsewhere.{" "}
      <button type="button" onClick={() => rename(current)}>
        Use “{title}”
      </button>
    </p>
  );
}

export function DeleteButton({ chat, onFailure }: { chat: Chat; onFailure: (message: string) => void }) {
  const deleteChat = useDeleteChat();
  const remove = () => deleteChat(chat).catch((error: ApiError) => onFailure(error.message));
  return (
    <button type="button" onClick={remove}>
      Delete
    </button>
  );
}

export function SignOutWhenEnded() {
  const { isSignedIn, signOut } = useAuth();
  const { error } = useAuthState();
  const hasEnded = error?.code === "session_ended" || error?.code === "account_inactive";
  useEffect(() => {
    if (isSignedIn && hasEnded) void signOut();
  }, [isSignedIn, hasEnded, signOut]);
  return null;
}

export const SignedOut = ({ children }: { children: ReactNode }) => (
  <Unauthenticated>
    <SignOutWhenEnded />
    {children}
  </Unauthenticated>
);

const MESSAGES = {
  online: "",
  paused: "Live updates are paused. Changes made elsewhere may appear late.",
  slow: "This is taking longer than usual.",
  unreachable: "The server cannot be reached. Retrying…",
  offline: "You are offline. Your changes will be saved when you are back online.",
};

export function ConnectionStatus() {
  return <p role="status">{MESSAGES[useConnection()]}</p>;
}

export function Greeting() {
  const { profile, refreshProfile, error } = useUserProfile();
  if (!profile) return error ? <Failure error={error} onRetry={() => void refreshProfile()} /> : <p>Loading…</p>;
  return <p>Hello, {profile.firstName ?? profile.email ?? "you"}</p>;
}

/** A sentence for the user about any error. */
export function sentence(error: unknown): string {
  if (!(error instanceof ApiError)) return "Something went wrong.";
  switch (error.code) {
    case "version_mismatch":
      return "It was changed elsewhere. Look at the new version and try again.";
    case "too_many_requests":
      return "Too many requests. Try again in a moment.";
    default:
      return error.message;
  }
}
