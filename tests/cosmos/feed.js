"use strict";
// The change feed in its "latest version" mode, for a whole partition key. The stock server has one full read of the
// container and no continuation.
//
// The entity tag of an answer is the LSN read up to, and asks for what follows. Documents written by one batch have one
// LSN and always come in one answer, though that makes it longer than asked. A logical partition shares its physical
// one, so an answer may be empty and yet not the last: 304 says that there is nothing more.
const { readPages, replaceHandler } = require("./stock");
const { live, lsn } = require("./documents");
const partitions = require("./partitions");

// Changes of other partitions that one answer goes past.
const SCAN = 50;

function changes(documents, after, limit, holds) {
  const news = live(documents)
    .map((document) => ({ document, number: lsn(documents, document) }))
    .filter(({ number }) => number > after)
    .sort((a, b) => a.number - b.number);
  const found = [];
  let read = after;
  for (const [at, { document, number }] of news.entries()) {
    if (number !== read && (found.length >= limit || at >= SCAN + found.length)) return { found, read };
    if (holds(document)) found.push({ ...document, _lsn: number });
    read = number;
  }
  return { found, read: Math.max(read, documents.lsn || 0) };
}

function repair() {
  replaceHandler("read-documents", async (account, req, res, { dbId, collId }) => {
    const { documents } = account.database(dbId).collection(collId);
    const scope = partitions.scope(req, documents._partitionKeyPath);
    if (!req.headers["a-im"]) {
      return readPages(req, res, "Documents", async () => ({ result: live(documents).filter(scope.holds) }));
    }
    // Else the stock server would answer 304 to every question with a continuation.
    delete req.headers["a-im"];
    const after = Number((req.headers["if-none-match"] || "0").replaceAll('"', ""));
    const limit = Number(req.headers["x-ms-max-item-count"]) > 0 ? Number(req.headers["x-ms-max-item-count"]) : 100;
    const { found, read } = changes(documents, after, limit, scope.holds);
    res.setHeader("etag", `"${read}"`);
    if (read === after) {
      res.statusCode = 304;
      return undefined;
    }
    return { Documents: found, _count: found.length };
  });
}

module.exports = { repair };
