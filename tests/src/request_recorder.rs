//! Records the mail and HTTP requests that a site sends to other hosts.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Result;

/// A mail server and a web server on loopback that accept and record every connection. Dropping it stops them.
#[derive(Debug)]
pub struct RequestRecorder {
    mail: u16,
    web: u16,
    received: Arc<Mutex<Vec<String>>>,
    tasks: [JoinHandle<()>; 2],
}

impl RequestRecorder {
    /// Starts both.
    ///
    /// # Errors
    /// No port.
    pub async fn start() -> Result<Self> {
        let received = Arc::default();
        let (mail, mails) = listen(true, Arc::clone(&received)).await?;
        let (web, webs) = listen(false, Arc::clone(&received)).await?;
        Ok(Self { mail, web, received, tasks: [mails, webs] })
    }

    /// The mail server's port.
    #[must_use]
    pub fn mail_port(&self) -> u16 {
        self.mail
    }

    /// The web server's port.
    #[must_use]
    pub fn web_port(&self) -> u16 {
        self.web
    }

    /// Returns and clears the record: `mail` or `web` for each connection.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.received.lock())
    }
}

impl Drop for RequestRecorder {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn listen(mail: bool, received: Arc<Mutex<Vec<String>>>) -> Result<(u16, JoinHandle<()>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let port = listener.local_addr()?.port();
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kind = if mail { "mail" } else { "web" };
            received.lock().push(kind.to_owned());
            // Ends with the connection, or with the runtime.
            tokio::spawn(async move {
                drop(if mail { serve_mail(stream).await } else { serve_web(stream).await })
            });
        }
    });
    Ok((port, task))
}

async fn serve_mail(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 recorder\r\n").await?;
    let (mut line, mut data) = (String::new(), false);
    while stream.read_line(&mut line).await? > 0 {
        let word = line.trim_end().to_ascii_uppercase();
        let answer = match (data, word.as_str()) {
            (true, ".") => "250 accepted\r\n",
            (true, _) => "",
            (false, "DATA") => "354 go on\r\n",
            (false, "QUIT") => "221 bye\r\n",
            _ => "250 recorder\r\n",
        };
        data = (data && word != ".") || (!data && word == "DATA");
        stream.write_all(answer.as_bytes()).await?;
        line.clear();
    }
    Ok(())
}

async fn serve_web(stream: TcpStream) -> std::io::Result<()> {
    let (mut stream, mut line) = (BufReader::new(stream), String::new());
    while stream.read_line(&mut line).await? > 2 {
        line.clear();
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nsink").await
}
