//! A user's connections are opened by a session or by a record of the user's own partition, not by a user id.

use store::{Connection, Connections, Error, UserChanges};

async fn attack(connections: &Connections) -> Result<Vec<Connection>, Error> {
    let eve = UserChanges { user_id: "user_eve".to_owned(), ..UserChanges::default() };
    connections.of(&eve).await?;
    connections.of("user_eve").await
}

fn main() {}
