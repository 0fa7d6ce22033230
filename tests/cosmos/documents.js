"use strict";
// How documents are kept: by their whole partition key, until they expire, with the number of the write that made each
// (its LSN), which the stock server lacks and the change feed goes by.
const { Documents, operations } = require("./stock");
const partitions = require("./partitions");

// The clock that `_ts` and expiry go by. Tests move it, so that none has to wait.
let advance = 0;
const now = Date.now;
Date.now = () => now() + advance;

function moveClock(seconds) {
  advance += seconds * 1000;
}

function expired(documents, document) {
  const { defaultTtl } = documents._parent.read();
  const ttl = document.ttl === undefined ? defaultTtl : document.ttl;
  return defaultTtl != null && ttl !== -1 && Math.floor(Date.now() / 1000) - document._ts >= ttl;
}

// Live documents with their LSNs.
function live(documents) {
  return [...documents._data.values()].map((item) => item.read()).filter((document) => !expired(documents, document));
}

const lsn = (documents, document) => documents.lsns.get(document._etag);

// All that `work` writes has one LSN, and is undone when `work` says that it failed.
function atomically(documents, work) {
  const data = new Map(documents._data);
  const index = new Map(documents._index);
  documents.lsn = (documents.lsn || 0) + 1;
  documents.together = true;
  try {
    const succeeded = work();
    if (!succeeded) {
      documents._data = data;
      documents._index = index;
    }
  } finally {
    documents.together = false;
  }
}

function repair() {
  Documents.prototype._getPartition = function (document) {
    return partitions.keyText(partitions.values(this._partitionKeyPath, document));
  };

  const item = Documents.prototype._item;
  Documents.prototype._item = function (path, value, partition) {
    const found = item.call(this, path, value, partition);
    const document = found.read();
    if (!document || !expired(this, document)) return found;
    item.call(this, path, value, partition);
    this._index.delete(this._getId("/id", document.id, this._getPartition(document)));
    this._data.delete(document._rid);
    return this._newItem();
  };

  const set = Documents.prototype._set;
  Documents.prototype._set = function (document) {
    if (!this.together) this.lsn = (this.lsn || 0) + 1;
    this.lsns = this.lsns || new Map();
    this.lsns.set(document._etag, this.lsn);
    return set.call(this, document);
  };

  // The stock server makes a new document of an upsert that asks for a certain version of a missing one.
  const upsert = operations.upsertOperation;
  operations.upsertOperation = (collection, input) => {
    const partition = partitions.keyText(JSON.parse(input.partitionKey));
    const missing = !collection.document(input.resourceBody.id, partition).read();
    if (input.ifMatch && input.ifMatch !== "*" && missing) {
      return { statusCode: 412, body: { code: "PreconditionFailed", message: "There is no such document." } };
    }
    return upsert(collection, input);
  };
}

module.exports = { atomically, live, lsn, moveClock, repair };
