/**
 * Runs in a process of its own beside the runner of a real node, and cleans up however the runner ends: its standard input is a pipe
 * from the runner, which the system closes even after SIGKILL. Argument: the folder of the node.
 */
import { cleanUp } from './clean-up.ts';

const [folder] = process.argv.slice(2);
if (folder === undefined) throw new Error('usage: reaper.ts <folder of a real node>');
try {
  for await (const _ of process.stdin);
} catch {
  // A pipe that breaks ends as well.
}
await cleanUp(folder);
