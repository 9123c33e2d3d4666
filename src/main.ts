#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8';
import { nodeVersionProblem } from './node-version.ts';

const problem = nodeVersionProblem(process.versions.node);
if (problem !== undefined) {
  process.stderr.write(`${problem}\n`);
  process.exitCode = 1;
} else {
  // V8 lets a heap grow to a multiple of what is in use before it collects (docs/decisions/0025-the-heap-grows-in-small-steps.md).
  setFlagsFromString('--heap-growing-percent=40');
  setFlagsFromString('--semi-space-growth-factor=1');

  // Only now: an older Node.js cannot load the program, and what is imported makes the heap grow already.
  const { builtInCatalog } = await import('./catalog.ts');
  const { runProgram } = await import('./cli/program.ts');
  void runProgram(builtInCatalog);
}
