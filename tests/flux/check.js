// Read a JSON list of Flux texts, write a JSON list of true and false: which are valid.
const { is_valid_flux } = require("@influxdata/flux-lsp-node");

const chunks = [];
process.stdin.on("data", (chunk) => chunks.push(chunk));
process.stdin.on("end", () => {
  const texts = JSON.parse(Buffer.concat(chunks).toString());
  process.stdout.write(JSON.stringify(texts.map((text) => is_valid_flux(text))));
});
