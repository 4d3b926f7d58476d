// Run a Python program in Pyodide: node run.mjs PYODIDE MODULES PROGRAM <question >answer
// The program has a coroutine `answer` that makes the one text from the other.
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { pathToFileURL } from "node:url";

const [pyodide, modules, program] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(`${pyodide}/pyodide.mjs`));
const python = await loadPyodide({ stdout: console.error });
python.mountNodeFS("/modules", modules);
try {
  python.runPython(readFileSync(program, "utf8"), { filename: program });
  const answer = await python.globals.get("answer")(await text(process.stdin));
  // Home Assistant's timers would keep Node alive.
  process.stdout.write(answer, () => process.exit(0));
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
