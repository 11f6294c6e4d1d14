import { UserChatList } from "../components/UserChatList.tsx";

export function ChatsPage() {
  return (
    <>
      <title>Your Chats · Cubby</title>
      <h1>Your Chats</h1>
      <UserChatList />
    </>
  );
}
