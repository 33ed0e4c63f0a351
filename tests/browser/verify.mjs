// Reads COPC files the way a page does, with copc and laz-perf, and says what is wrong with them.
//
//     node verify.mjs < paths > findings
//
// One path a line in; one JSON document a line out:
// {"file", "points", "nodes", "pages", "problems"}. Every node is decoded, every point looked at.
// Exit status 0 unless the program itself fails.

import { Copc, Key } from "copc";
import { createLazPerf } from "laz-perf";
import { open } from "node:fs/promises";
import { createInterface } from "node:readline";

const AXES = ["X", "Y", "Z"];
const MOST_PROBLEMS = 10;

/** Hierarchy entries of all pages, by key, and how many pages there are. */
async function loadNodes(get, copc) {
  const nodes = {};
  const waiting = [copc.info.rootHierarchyPage];
  let pages = 0;
  for (; waiting.length > 0; pages += 1) {
    const subtree = await Copc.loadHierarchyPage(get, waiting.pop());
    Object.assign(nodes, subtree.nodes);
    waiting.push(...Object.values(subtree.pages));
  }
  return { nodes, pages };
}

/** The key of the node that encloses this one. */
function parentOf(key) {
  const [depth, ...place] = Key.parse(key);
  return Key.toString([depth - 1, ...place.map((step) => step >> 1)]);
}

/** What a node's points may reach, per axis: its cube, and the header's box within it. */
function limitsOf(key, { header, info }) {
  const [depth, ...place] = Key.parse(key);
  return AXES.map((_, axis) => {
    const side = (info.cube[axis + 3] - info.cube[axis]) / 2 ** depth;
    const low = info.cube[axis] + place[axis] * side;
    // Coordinates are rounded to the scale; half of it is no error.
    const slack = header.scale[axis] / 2;
    return {
      node: [low - slack, low + side + slack],
      header: [header.min[axis] - slack, header.max[axis] + slack],
    };
  });
}

/** Count the points of a decoded node that lie outside its cube, and outside the header's box. */
function strays(view, limits) {
  const outside = { node: 0, header: 0 };
  AXES.forEach((name, axis) => {
    const get = view.getter(name);
    const { node, header } = limits[axis];
    for (let point = 0; point < view.pointCount; point += 1) {
      const value = get(point);
      // Written so that a NaN is outside, too.
      if (!(value >= node[0] && value <= node[1])) outside.node += 1;
      if (!(value >= header[0] && value <= header[1])) outside.header += 1;
    }
  });
  return outside;
}

async function checkNode(get, copc, key, node, lazPerf) {
  const problems = [];
  const view = await Copc.loadPointDataView(get, copc, node, { lazPerf });
  if (view.pointCount !== node.pointCount) {
    problems.push(`${key}: ${view.pointCount} points decoded, ${node.pointCount} promised`);
  }
  const outside = strays(view, limitsOf(key, copc));
  if (outside.node > 0) problems.push(`${key}: ${outside.node} coordinates outside the node`);
  if (outside.header > 0) problems.push(`${key}: ${outside.header} coordinates outside the header`);
  return problems;
}

async function checkCopc(get, lazPerf) {
  const copc = await Copc.create(get);
  const { nodes, pages } = await loadNodes(get, copc);
  const problems = [];
  let points = 0;
  for (const [key, node] of Object.entries(nodes)) {
    if (key !== "0-0-0-0" && !(parentOf(key) in nodes)) problems.push(`${key}: no parent`);
    points += node.pointCount;
    if (node.pointCount > 0) problems.push(...(await checkNode(get, copc, key, node, lazPerf)));
  }
  if (points !== copc.header.pointCount) {
    problems.push(`${points} points in the nodes, ${copc.header.pointCount} in the header`);
  }
  return { points, nodes: Object.keys(nodes).length, pages, problems };
}

async function check(file, lazPerf) {
  const handle = await open(file);
  try {
    const get = async (begin, end) => {
      const { buffer, bytesRead } = await handle.read(new Uint8Array(end - begin), 0, end - begin, begin);
      return buffer.subarray(0, bytesRead);
    };
    return await checkCopc(get, lazPerf);
  } catch (error) {
    return { points: 0, nodes: 0, pages: 0, problems: [`not readable: ${error}`] };
  } finally {
    await handle.close();
  }
}

const lazPerf = await createLazPerf();
for await (const file of createInterface({ input: process.stdin })) {
  const found = await check(file, lazPerf);
  const problems = found.problems.slice(0, MOST_PROBLEMS);
  process.stdout.write(`${JSON.stringify({ file, ...found, problems })}\n`);
}
