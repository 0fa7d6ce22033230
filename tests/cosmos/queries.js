"use strict";
// Queries see the partition they name and nothing else, and may rank by VectorDistance and cut with OFFSET LIMIT.
const { builtins, readBody, readPages, replaceHandler } = require("./stock");
const { live } = require("./documents");
const partitions = require("./partitions");

const BY_DISTANCE = /\s+ORDER\s+BY\s+VectorDistance\(\s*c\.(\w+)\s*,\s*(@\w+)\s*\)\s*$/i;
const CUT = /\s+OFFSET\s+(\d+|@\w+)\s+LIMIT\s+(\d+|@\w+)\s*$/i;

// Cosine similarity, brute force; undefined for what is no vector of the same length.
function similarity(a, b) {
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return undefined;
  let dot = 0;
  let lengths = [0, 0];
  for (let at = 0; at < a.length; at += 1) {
    dot += a[at] * b[at];
    lengths = [lengths[0] + a[at] * a[at], lengths[1] + b[at] * b[at]];
  }
  return lengths[0] && lengths[1] ? dot / Math.sqrt(lengths[0] * lengths[1]) : 0;
}

function run(documents, rows, { query, parameters = [] }, page) {
  const value = (text) => (text.startsWith("@") ? parameters.find(({ name }) => name === text).value : Number(text));
  let sql = query;
  let cut = null;
  sql = sql.replace(CUT, (_, offset, limit) => {
    cut = [value(offset), value(offset) + value(limit)];
    return "";
  });
  sql = sql.replace(BY_DISTANCE, (_, name, parameter) => {
    const near = (document) => similarity(document[name], value(parameter)) ?? -2;
    rows = [...rows].sort((a, b) => near(b) - near(a));
    return "";
  });
  const compositeIndexes = (documents._parent.read().indexingPolicy || {}).compositeIndexes || [];
  const answer = documents._getQuery(sql).exec(rows, { parameters, compositeIndexes, ...(cut ? {} : page) });
  return cut ? { result: answer.result.slice(...cut) } : answer;
}

// Whether one document meets a patch's condition. The stock server lower-cases it and tries it on every partition.
function holds(documents, condition, document) {
  return run(documents, [document], { query: `SELECT * ${condition}` }, {}).result.length > 0;
}

function repair() {
  builtins.VECTORDISTANCE = similarity;
  replaceHandler("query-documents", async (account, req, res, { dbId, collId }) => {
    const collection = account.database(dbId).collection(collId);
    if (!collection.read()) {
      res.statusCode = 404;
      return { code: "NotFound", message: "Owner resource does not exist" };
    }
    const { documents } = collection;
    const scope = partitions.scope(req, documents._partitionKeyPath);
    if (!scope.complete) {
      res.statusCode = 400;
      return { code: "BadRequest", message: "The partition key has fewer components than the container's." };
    }
    const body = await readBody(req);
    return readPages(req, res, "Documents", async (page) => {
      try {
        return run(documents, live(documents).filter(scope.holds), body, page);
      } catch (error) {
        res.statusCode = 400;
        return { code: "BadRequest", message: error.message };
      }
    });
  });
}

module.exports = { holds, repair };
