//! `wpclone rewrite --sql` with dumps that MariaDB made, and with one that is larger than memory should be.

mod database;
mod dumps;
mod gigabyte;
