#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { nodeVersionProblem } from './node-version.ts';

const problem = nodeVersionProblem(process.versions.node);
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
} else {
  // Collect garbage earlier, to keep the heap small (docs/decisions/0025-the-heap-grows-in-small-steps.md).
  setFlagsFromString('--heap-growing-percent=40');
  setFlagsFromString('--semi-space-growth-factor=1');

  // Imported after the checks above: an older Node.js cannot load these files, and loading them already grows the heap.
  const { builtInCatalog } = await import('./catalog.ts');
  const { runProgram } = await import('./cli/program.ts');
  void runProgram(builtInCatalog);
}
