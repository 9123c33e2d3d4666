import { summary } from './results.ts';
import { runSteps } from './run-steps.ts';
import { RUNS } from './steps.ts';

/** `node test/run/main.ts NAME` runs the steps of the npm script NAME, and exits with 1 if any step fails. */

const name = process.argv.slice(2).join(' ');
const steps = RUNS[name];
if (steps === undefined) throw new Error(`unknown run ${name}: use one of ${Object.keys(RUNS).join(', ')}`);
const results = await runSteps(steps);
process.stdout.write(`\n${summary(results)}`);
process.exitCode = results.failed.length === 0 ? 0 : 1;
