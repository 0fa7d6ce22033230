"use strict";
// Reads and writes of single documents, patches and batches, as the documentation of Azure Cosmos DB has them.
const { operations, patch, readBody, replaceHandler } = require("./stock");
const { atomically } = require("./documents");
const { holds } = require("./queries");
const partitions = require("./partitions");

const MAX_BYTES = 2 * 1024 * 1024;
const MAX_BATCH = 100;

const missing = () => ({ statusCode: 404, body: { code: "NotFound", message: "Resource Not Found." } });
const bad = (message) => ({ statusCode: 400, body: { code: "BadRequest", message } });
const tooLarge = () => ({ statusCode: 413, body: { code: "RequestEntityTooLarge", message: "Request size is too large" } });
const bytes = (value) => Buffer.byteLength(JSON.stringify(value));

// What the service checks before it writes anything.
function refusal(collection, key, { operationType, id, resourceBody }) {
  if (operationType === "Patch" || resourceBody === undefined) return null;
  if (bytes(resourceBody) > MAX_BYTES) return tooLarge();
  if (typeof resourceBody.id !== "string" || resourceBody.id === "") return bad("The document needs an id.");
  if (/[/\\?#]/.test(resourceBody.id)) return bad("The id contains a character that is not allowed.");
  if (Buffer.byteLength(resourceBody.id) > 1023) return bad("The id is longer than 1023 bytes.");
  if (operationType === "Replace" && id !== resourceBody.id) return bad("The id of a document cannot change.");
  const { ttl } = resourceBody;
  if (ttl !== undefined && !(Number.isInteger(ttl) && (ttl > 0 || ttl === -1))) return bad("The ttl is not valid.");
  const stated = partitions.values(collection.documents._partitionKeyPath, resourceBody);
  return partitions.keyText(stated) === partitions.keyText(key) ? null : bad("The partition key differs from the body's.");
}

// The stock server lower-cases a patch's condition and tries it on every partition.
function conditionalPatch(collection, input, { operations: steps, condition }) {
  const document = collection.document(input.id, partitions.keyText(JSON.parse(input.partitionKey))).read();
  if (!document) return missing();
  if (condition && !holds(collection.documents, condition, document)) {
    return { statusCode: 412, body: { code: "PreconditionFailed", message: "The condition is not satisfied." } };
  }
  return patch(collection, { ...input, operations: steps });
}

function perform(collection, key, operation) {
  const { operationType, id, resourceBody, ifMatch } = operation;
  const input = { partitionKey: JSON.stringify(key), id, resourceBody, ifMatch };
  const refused = refusal(collection, key, operation);
  if (refused) return refused;
  switch (operationType) {
    case "Create":
      return operations.createOperation(collection, input);
    case "Upsert":
      return operations.upsertOperation(collection, input);
    case "Read":
      return operations.readOperation(collection, input);
    case "Replace":
      return operations.replaceOperation(collection, input);
    case "Delete":
      return operations.deleteOperation(collection, input);
    case "Patch":
      return conditionalPatch(collection, input, resourceBody);
    default:
      return bad(`There is no operation ${operationType}.`);
  }
}

// The handler of one operation.
function single(operationType, { hasBody }) {
  return async (account, req, res, { dbId, collId, docId }) => {
    const resourceBody = hasBody ? await readBody(req) : undefined;
    const collection = account.database(dbId).collection(collId);
    if (!collection.read()) {
      res.statusCode = 404;
      res.setHeader("x-ms-substatus", "1003");
      return { code: "NotFound", message: "Owner resource does not exist" };
    }
    const key = partitions.fromHeader(req);
    if (!key || key.length !== collection.documents._partitionKeyPath.length) {
      res.statusCode = 400;
      return { code: "BadRequest", message: "The partition key is missing or incomplete." };
    }
    const operation = { operationType, id: docId, resourceBody, ifMatch: req.headers["if-match"] };
    const { statusCode, body } = perform(collection, key, operation);
    res.statusCode = statusCode;
    return body;
  };
}

// All or nothing. The stock server keeps what came before the failure and reports it as done.
async function batch(account, req, res, { dbId, collId }) {
  const steps = await readBody(req);
  const collection = account.database(dbId).collection(collId);
  const key = partitions.fromHeader(req);
  if (!collection.read()) {
    res.statusCode = 404;
    res.setHeader("x-ms-substatus", "1003");
    return { code: "NotFound", message: "Owner resource does not exist" };
  }
  if (steps.length > MAX_BATCH || bytes(steps) > MAX_BYTES) {
    res.statusCode = steps.length > MAX_BATCH ? 400 : 413;
    return { code: "BadRequest", message: "The batch is too large." };
  }
  const results = [];
  atomically(collection.documents, () => {
    for (const step of steps) {
      const { statusCode, body } = perform(collection, key, step);
      results.push({ statusCode, requestCharge: 1, eTag: (body || {})._etag, resourceBody: body });
      if (statusCode >= 400) return false;
    }
    return true;
  });
  const failed = results.findIndex(({ statusCode }) => statusCode >= 400);
  if (failed < 0) return results;
  res.statusCode = 207;
  return steps.map((_, at) => ({ statusCode: at === failed ? results[at].statusCode : 424, requestCharge: 0 }));
}

function repair() {
  replaceHandler("create-document", single("Create", { hasBody: true }));
  replaceHandler("upsert-document", single("Upsert", { hasBody: true }));
  replaceHandler("replace-document", single("Replace", { hasBody: true }));
  replaceHandler("patch-document", single("Patch", { hasBody: true }));
  // The stock server answers 500 for a document that is not there.
  replaceHandler("read-document", single("Read", { hasBody: false }));
  replaceHandler("delete-document", single("Delete", { hasBody: false }));
  replaceHandler("batch-documents", batch);
}

module.exports = { repair };
