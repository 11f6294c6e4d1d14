//! An opened partition cannot be pointed at another user.

use store::{ReadSession, Reader, Resource, Table, Writer};

fn read<'a, R: Resource>(table: &'a Table<R>, eve: &'a ReadSession) -> Reader<'a, R> {
    Reader { table, session: eve }
}

fn write<R: Resource>(table: &Table<R>) -> Writer<'_, R> {
    Writer { table, user_id: "user_eve" }
}

fn main() {}
