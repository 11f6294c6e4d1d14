import { type FormEvent, useState } from "react";

interface Props {
  initialTitle: string;
  onSubmit: (title: string) => void;
  onCancel: () => void;
}

/** Edits the title of a chat. The new title shows at once, so the form closes without waiting. */
export function EditChatTitle({ initialTitle, onSubmit, onCancel }: Props) {
  const [title, setTitle] = useState(initialTitle);

  const handleSubmit = (event: FormEvent) => {
    event.preventDefault();
    const trimmed = title.trim();
    if (!trimmed || trimmed === initialTitle) onCancel();
    else onSubmit(trimmed);
  };

  return (
    <form className="line" onSubmit={handleSubmit} onKeyDown={(event) => event.key === "Escape" && onCancel()}>
      <input
        aria-label="Title"
        value={title}
        onChange={(event) => setTitle(event.target.value)}
        maxLength={200}
        // biome-ignore lint/a11y/noAutofocus: the user has just chosen to edit it
        autoFocus
      />
      <div className="actions">
        <button type="submit" className="primary">
          Save
        </button>
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}
