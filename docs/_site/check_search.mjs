// Checks that the site's own search leads to the entry of every public name in the API.
//
//     node docs/_site/check_search.mjs site     // the folder that `mkdocs build` wrote
//
// Runs the search worker that the pages load, with a query as a reader types it: the name alone
// ("noisy_or": an entry of that name), as code has it ("mdn.noisy_or") and in full
// ("mdn_cupy.noisy_or": that very entry). The entry must be on one of the first five pages that the
// search lists. Prints the names for which it is not, and ends with status 1.

import { readFileSync, readdirSync } from "node:fs";
import vm from "node:vm";

const site = process.argv[2];
const index = JSON.parse(readFileSync(`${site}/search/search_index.json`, "utf8"));
const folder = `${site}/assets/javascripts/workers`;
const worker = readdirSync(folder).find((name) => /^search\..*\.js$/.test(name));

let receive;
const answers = [];
const self = {
  addEventListener: (_, listener) => (receive = listener),
  postMessage: (message) => answers.push(message),
};
Object.assign(self, { self, console, URL, importScripts: () => {} });
vm.runInNewContext(readFileSync(`${folder}/${worker}`, "utf8"), self);

const send = async (type, data) => {
  answers.length = 0;
  await receive({ data: { type, data } });
  while (answers.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  return answers[0].data;
};
await send(0, { ...index, options: { suggest: false } });

const modules = "mdn_cupy|mdn_cupy.(adapters|dask|reference|samples|torch)|mdn_viewer";
const entries = index.docs
  .map((each) => each.location.split("#")[1])
  .filter((name) => new RegExp(`^(${modules})\\.\\w+$`).test(name));

const missed = [];
for (const name of entries) {
  const short = name.split(".").at(-1);
  for (const query of [short, name.replace("mdn_cupy", "mdn"), name]) {
    const { items } = await send(2, query);
    const found = items.slice(0, 5).flat().map((item) => item.location);
    const end = query === short ? `.${short}` : `#${name}`;
    if (!found.some((location) => location.endsWith(end))) missed.push([query, name, found]);
  }
}
for (const [query, name, found] of missed) {
  console.log(`${query}: no ${name} in ${found.slice(0, 5).join(" ")}`);
}
console.log(`${entries.length} names, ${3 * entries.length} queries: ${missed.length} missed`);
process.exit(missed.length ? 1 : 0);
