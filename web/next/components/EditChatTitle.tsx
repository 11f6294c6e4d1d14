import type { Item } from "cubby-client";

import { useUpdateChat } from "@/hooks/useChats";

type Props = { chat: Item<"/chats">; onComplete: (change?: Promise<unknown>) => void };

/** Edits the title of a chat. The new title shows at once, so the form closes without waiting. */
export function EditChatTitle({ chat, onComplete }: Props) {
  const updateChat = useUpdateChat();
  const submit = (form: FormData) => onComplete(updateChat(chat, { title: `${form.get("title")}` }));
  return (
    <form className="line" action={submit} onKeyDown={(event) => event.key === "Escape" && onComplete()}>
      {/* biome-ignore lint/a11y/noAutofocus: the user has just chosen to edit it */}
      <input name="title" aria-label="Title" defaultValue={chat.title} required maxLength={200} autoFocus />
      <button type="submit">Save</button>
    </form>
  );
}
