import { useAuth } from "@clerk/nextjs";
import { auth } from "@clerk/nextjs/server";
import { ApiProvider } from "cubby-client";
import { serverApi } from "cubby-client/server";

import { SignedIn } from "@/components/SignedIn";
import { UserChatList } from "@/components/UserChatList";

export default async function DashboardPage() {
  const { API_URL: baseUrl = "", LIVE_URL: liveUrl } = process.env;
  const { getToken } = await auth.protect();
  const api = serverApi({ baseUrl, getToken });
  const [profile, chats] = await Promise.all([api.preloadProfile(), api.preloadList("/chats", { pageSize: 20 })]);
  return (
    <ApiProvider baseUrl={baseUrl} liveUrl={liveUrl} useAuth={useAuth} preloaded={profile}>
      <SignedIn>
        <UserChatList preloaded={chats} />
      </SignedIn>
    </ApiProvider>
  );
}
