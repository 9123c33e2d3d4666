/** The number of random cases that a suite runs: a tenth of `all`, or all of them with `FUZZ=full`, as in `npm run test:all`. */
export function fuzzCases(all: number): number {
  return process.env['FUZZ'] === 'full' ? all : all / 10;
}
