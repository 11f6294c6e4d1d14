//! A handler that asks for an `Identity` cannot write, and one that asks for neither cannot read.

use api::{Body, Identity, Problem, Table};
use store::{Chat, Chats, Created, Id, Limit, NewChat, Page, Title};

async fn create(identity: Identity, Table(chats): Table<Chats>, Body(title): Body<Title>) -> Result<Body<Chat>, Problem> {
    let (Created::New(chat) | Created::Already(chat)) =
        chats.of_author(&identity).create(NewChat { id: None, title }).await?;
    Ok(Body(chat))
}

async fn list(Table(chats): Table<Chats>, Body(user_id): Body<Id>) -> Result<Body<Page>, Problem> {
    Ok(Body(chats.of(&user_id).list(Limit::default(), None).await?))
}

fn main() {
    let _ = (create, list);
}
