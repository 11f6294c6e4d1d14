import { type ApiError, type Chat, type ShownChat, useDeleteChat, useRenameChat } from "clerk-backend-client";
import { useEffect, useRef, useState } from "react";

import { EditChatTitle } from "./EditChatTitle.tsx";
import { Notice } from "./Notice.tsx";
import { When } from "./When.tsx";

type Mode = "deleting" | "editing" | "showing";

interface Props {
  chat: ShownChat;
  /** Is told that the chat goes, and then, if it is back, why. */
  onRemove: (removal: Promise<string>) => void;
}

export function ChatItem({ chat, onRemove }: Props) {
  const [mode, setMode] = useState<Mode>("showing");
  const [problem, setProblem] = useState("");
  /** Somebody else's version, and the title that was to be given. */
  const [conflict, setConflict] = useState<{ current: Chat; title: string }>();
  const renameChat = useRenameChat();
  const deleteChat = useDeleteChat();
  const renameButton = useRef<HTMLButtonElement>(null);
  const before = useRef<Mode>(mode);
  useEffect(() => {
    // Back to where the keyboard was.
    if (mode === "showing" && before.current !== mode) renameButton.current?.focus();
    before.current = mode;
  }, [mode]);

  const show = () => setMode("showing");
  const rename = (version: Chat, title: string) => {
    setConflict(undefined);
    setProblem("");
    renameChat(version, { title }).catch((error: ApiError) => {
      if (error.current) setConflict({ current: error.current, title });
      else setProblem(`Not renamed: ${error.message}`);
    });
  };
  const remove = () => {
    onRemove(
      deleteChat(chat).then(
        () => "",
        (error: ApiError) => `“${chat.title}” was not deleted: ${error.message}`,
      ),
    );
  };

  return (
    <li className="chat" aria-busy={chat.isPending}>
      {mode === "editing" ? (
        <EditChatTitle
          initialTitle={chat.title}
          onSubmit={(title) => {
            rename(chat, title);
            show();
          }}
          onCancel={show}
        />
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
              <button
                ref={renameButton}
                type="button"
                aria-label={`Rename ${chat.title}`}
                onClick={() => setMode("editing")}
              >
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
