// Reads glTF files with Khronos' validator and says what is wrong with them.
//
//     node tiles.mjs < paths > findings
//
// One path a line in; one JSON document a line out: {"file", "problems"}. Extensions that the
// validator does not know are no problem. Exit status 0 unless the program itself fails.

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import validator from "gltf-validator";

for await (const file of createInterface({ input: process.stdin })) {
  const { issues } = await validator.validateBytes(new Uint8Array(await readFile(file)), {
    ignoredIssues: ["UNSUPPORTED_EXTENSION"],
  });
  const problems = issues.messages.map(({ code, message, pointer }) => `${code} ${pointer}: ${message}`);
  process.stdout.write(`${JSON.stringify({ file, problems })}\n`);
}
