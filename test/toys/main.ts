import { runProgram } from '../../src/cli/program.ts';
import { toysCatalog } from './catalog.ts';

void runProgram(toysCatalog);
