"use strict";
// The parts of @vercel/cosmosdb-server and its query engine that the repairs build on, by the names used here.
const path = require("path");

const LIB = path.join(path.dirname(require.resolve("@vercel/cosmosdb-server/package.json")), "lib");
const part = (name) => require(path.join(LIB, name));

module.exports = {
  createHttpServer: () => part("index").createHttpServer({ keepAlive: true }),
  builtins: require("@zeit/cosmosdb-query/lib/builtin-functions"),
  Documents: part("account/documents").default,
  operations: part("handler/_document-operations"),
  partitionHeader: part("utils/get-partition-from-header"),
  patch: part("handler/_patch-operations").patchOperation,
  readBody: part("json").default,
  readPages: part("handler/_read-items").default,
  // The router takes a handler's `default` when it is first loaded, so a replacement must come before that.
  replaceHandler: (name, handler) => {
    part(`handler/${name}`).default = handler;
  },
};
