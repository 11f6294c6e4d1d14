//! The user's chats, behind the HTTP API.

use api::{Context, Line, OpenApiRouter};
use serde::{Deserialize, Serialize};
use store::{Resource, Table};
use utoipa::ToSchema;

/// A chat.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Chat {
    /// The title.
    pub title: Line<200>,
}

/// A chat's new title.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
pub struct ChatUpdate {
    /// The title.
    pub title: Line<200>,
}

impl Resource for Chat {
    const NAME: &str = "chat";
    const PLURAL: &str = "chats";
    type Update = ChatUpdate;
}

/// The operations of chats.
pub fn router() -> OpenApiRouter<Context<Table<Chat>>> {
    api::resource::<Chat>("/chats").router()
}
