/** Output of the demo. */

const color = process.stdout.isTTY && process.env['NO_COLOR'] === undefined;
export const paint = (code: number, text: string) => (color ? `\u001b[${code}m${text}\u001b[0m` : text);

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

let steps = 0;

export function step(title: string): void {
  steps += 1;
  print(`\n${paint(1, `${steps}. ${title}`)}`);
}

export function show(text: string): void {
  for (const line of text.trimEnd().split('\n')) print(`   ${line}`);
}

export const note = (text: string) => show(paint(2, text));
