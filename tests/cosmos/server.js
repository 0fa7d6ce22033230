"use strict";
// An Azure Cosmos DB endpoint for tests: @vercel/cosmosdb-server with its gaps repaired, each beside the code that does.
//
//   COSMOS_KEY=<base64> node server.js     prints the port it listens on, on the loopback address
//
// POST /test/clock {"advance": 60} moves the clock that time-to-live goes by.
const crypto = require("crypto");

// First of all: the stock server's router takes the handlers as they are when it is loaded.
for (const name of ["./partitions", "./documents", "./queries", "./writes", "./feed"]) require(name).repair();

const { createHttpServer, readBody, replaceHandler } = require("./stock");
const { moveClock } = require("./documents");

// The stock server advertises https, which it does not speak here.
replaceHandler("read-meta", (account, req) => {
  const here = [{ name: "local", databaseAccountEndpoint: `http://${req.headers.host}/` }];
  return { ...account.read(), writableLocations: here, readableLocations: here };
});

// Whether the request is signed with the key, as the documentation of the REST interface describes it. The stock server
// checks no key.
function signed(req, key) {
  const given = (decodeURIComponent(req.headers.authorization || "").match(/&sig=(.*)$/) || [])[1];
  const parts = req.url.split("?")[0].split("/").filter(Boolean).map(decodeURIComponent);
  const isFeed = parts.length % 2 === 1;
  const type = (isFeed ? parts.at(-1) : parts.at(-2)) || "";
  const link = (isFeed ? parts.slice(0, -1) : parts).join("/");
  const text = `${req.method.toLowerCase()}\n${type}\n${link}\n${(req.headers["x-ms-date"] || "").toLowerCase()}\n\n`;
  const expected = crypto.createHmac("sha256", Buffer.from(key, "base64")).update(text).digest("base64");
  return given === expected;
}

const server = createHttpServer();
const [answer] = server.listeners("request");
server.removeAllListeners("request");
server.on("request", async (req, res) => {
  if (req.url === "/test/clock") {
    moveClock((await readBody(req)).advance);
    res.end();
  } else if (process.env.COSMOS_KEY && !signed(req, process.env.COSMOS_KEY)) {
    res.writeHead(401, { "content-type": "application/json" });
    res.end(JSON.stringify({ code: "Unauthorized", message: "The input authorization token can't serve the request." }));
  } else {
    answer(req, res);
  }
});
server.keepAliveTimeout = 60_000;
server.listen(Number(process.env.PORT) || 0, "127.0.0.1", () => console.log(`ready ${server.address().port}`));
