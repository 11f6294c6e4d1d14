import type { ApiError, Item, Listed } from "cubby-client";
import { useEffect, useRef, useState } from "react";

import { useDeleteChat, useUpdateChat } from "../resources/chats.ts";
import { EditChatTitle } from "./EditChatTitle.tsx";
import { Notice } from "./Notice.tsx";
import { When } from "./When.tsx";

type Chat = Item<"/chats">;
type Mode = "deleting" | "editing" | "showing";

interface Props {
  chat: Listed<Chat>;
  /** Called when the chat is deleted. The promise has the reason if that fails, and is empty otherwise. */
  onRemove: (removal: Promise<string>) => void;
}

export function ChatItem({ chat, onRemove }: Props) {
  const [mode, setMode] = useState<Mode>("showing");
  /** The chat that the form shows. It can change elsewhere meanwhile. */
  const [edited, setEdited] = useState<Chat>(chat);
  const [problem, setProblem] = useState("");
  /** The chat as another client changed it, and the title that this client tried to set. */
  const [conflict, setConflict] = useState<{ current: Chat; title: string }>();
  const updateChat = useUpdateChat();
  const deleteChat = useDeleteChat();
  const renameButton = useRef<HTMLButtonElement>(null);
  const before = useRef<Mode>(mode);
  useEffect(() => {
    // Returns the focus to the button that opened the form.
    if (mode === "showing" && before.current !== mode) renameButton.current?.focus();
    before.current = mode;
  }, [mode]);

  const show = () => setMode("showing");
  const edit = () => {
    setEdited(chat);
    setMode("editing");
  };
  const rename = (version: Chat, title: string) => {
    setConflict(undefined);
    setProblem("");
    updateChat(version, { title }).catch((error: ApiError<Chat>) => {
      if (error.current) setConflict({ current: error.current, title });
      else setProblem(`Couldn't rename the chat. ${error.message}`);
    });
  };
  const remove = () => {
    onRemove(
      deleteChat(chat).then(
        () => "",
        (error: ApiError) => `Couldn't delete “${chat.title}”. ${error.message}`,
      ),
    );
  };

  return (
    <li className="chat" aria-busy={chat.isPending}>
      {mode === "editing" ? (
        <>
          <EditChatTitle
            initialTitle={edited.title}
            onSubmit={(title) => {
              rename(edited, title);
              show();
            }}
            onCancel={show}
          />
          <p role="status" className="when">
            {chat.version > edited.version && chat.title !== edited.title && (
              <>This chat was renamed to “{chat.title}” elsewhere.</>
            )}
          </p>
        </>
      ) : (
        <div className="line">
          <div className="what">
            <span className="title">{chat.title}</span>
            <span className="when">{chat.isPending ? "Saving…" : <When time={chat.updatedAt} />}</span>
          </div>
          {mode === "deleting" ? (
            // biome-ignore lint/a11y/useSemanticElements: a fieldset groups the fields of a form
            <div className="actions" role="group" aria-label={`Delete ${chat.title}?`}>
              <button type="button" className="danger" onClick={remove}>
                Delete
              </button>
              <button type="button" onClick={show}>
                Keep
              </button>
            </div>
          ) : (
            <div className="actions">
              <button ref={renameButton} type="button" aria-label={`Rename ${chat.title}`} onClick={edit}>
                Rename
              </button>
              <button type="button" aria-label={`Delete ${chat.title}`} onClick={() => setMode("deleting")}>
                Delete…
              </button>
            </div>
          )}
        </div>
      )}
      {problem && <Notice onDismiss={() => setProblem("")}>{problem}</Notice>}
      {conflict && (
        <Notice>
          <p>
            This chat was renamed to “{conflict.current.title}” elsewhere, while you were renaming it to “
            {conflict.title}”.
          </p>
          <div className="actions">
            <button type="button" onClick={() => rename(conflict.current, conflict.title)}>
              Use “{conflict.title}”
            </button>
            <button type="button" onClick={() => setConflict(undefined)}>
              Keep “{conflict.current.title}”
            </button>
          </div>
        </Notice>
      )}
    </li>
  );
}
