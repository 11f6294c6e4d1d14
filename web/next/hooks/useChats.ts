import { createResourceHooks } from "cubby-client";

export const {
  useList: useChats,
  useCreate: useCreateChat,
  useUpdate: useUpdateChat,
  useDelete: useDeleteChat,
} = createResourceHooks("/chats", "chats");
