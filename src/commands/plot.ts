// Plots: curves in panels side by side, as one SVG file that needs nothing else. Pure.
//
// A chart library would draw more kinds of charts, and bring a simulated browser page to do
// it in. Lines are told apart by colour, dashes and marks, so also without colour; a reader
// who does not see gets the title, the description and each mark's value.

import { linearScale, logScale, type Scale, shortNumber } from './scales.ts'

export interface Series {
  readonly name: string
  readonly points: readonly { readonly x: number; readonly y: number }[]
}

/** One pair of axes. The x axis goes by powers of ten, and the y axis where its values do. */
export interface Panel {
  readonly title: string
  readonly xLabel: string
  readonly yLabel: string
  readonly series: readonly Series[]
}

export interface Figure {
  readonly title: string
  /** What a reader who does not see it is told. */
  readonly description: string
  readonly panels: readonly Panel[]
}

const PANEL = { width: 340, height: 260 }
const PLOT = { left: 56, top: 44, width: 264, height: 164 }
const HEAD = 40
const LEGEND = 40
/** From this range of values on, the y axis goes by powers of ten. */
const LOG_FROM = 20

/** Told apart by readers who do not see all colours (Okabe and Ito's). */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9']
const DASHES = ['', '6 3', '2 3', '8 3 2 3', '12 4', '1 4']

const STYLE = `
  text { font: 12px system-ui, sans-serif; fill: #222 }
  .title { font-size: 15px; font-weight: 600 }
  .panel { font-size: 13px; font-weight: 600 }
  .axis { stroke: #888; fill: none }
  .grid { stroke: #ddd }
  .curve { fill: none; stroke-width: 2 }
  .paper { fill: #fff }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .grid { stroke: #3a3a3a } .paper { fill: #161616 }
  }
`.trim()

/** The SVG of a figure; ends with a newline. */
export const plot = ({ title, description, panels }: Figure): string => {
  const names = [
    ...new Set(panels.flatMap(({ series }) => series.map((one) => one.name))),
  ]
  const width = PANEL.width * panels.length
  const height = HEAD + PANEL.height + LEGEND
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-labelledby="title description">`,
    `<title id="title">${escaped(title)}</title>`,
    `<desc id="description">${escaped(description)}</desc>`,
    `<style>${STYLE}</style>`,
    `<rect class="paper" width="${width}" height="${height}"/>`,
    `<text class="title" x="16" y="26">${escaped(title)}</text>`,
    ...panels.map(
      (panel, index) =>
        `<g transform="translate(${index * PANEL.width} ${HEAD})">\n${drawPanel(panel, names)}\n</g>`,
    ),
    ...names.map((name, index) => legendOf(name, index, height - 16)),
    '</svg>',
    '',
  ].join('\n')
}

const drawPanel = (panel: Panel, names: readonly string[]): string => {
  const points = panel.series.flatMap((series) => series.points)
  const middle = PLOT.left + PLOT.width / 2
  const head = `<text class="panel" x="${PLOT.left}" y="16">${escaped(panel.title)}</text>`
  if (points.length === 0)
    return `${head}\n<text x="${middle}" y="${PLOT.top + PLOT.height / 2}" text-anchor="middle">no values</text>`
  const x = logScale(points.map((point) => point.x))
  const y = yScale(points.map((point) => point.y))
  return [
    head,
    ...y.ticks.map((tick) => {
      const at = yOf(y, tick)
      return `<path class="grid" d="M${PLOT.left} ${at}h${PLOT.width}"/><text x="${PLOT.left - 6}" y="${round(at + 4)}" text-anchor="end">${shortNumber(tick)}</text>`
    }),
    ...x.ticks.map((tick) => {
      const at = xOf(x, tick)
      return `<path class="axis" d="M${at} ${PLOT.top + PLOT.height}v4"/><text x="${at}" y="${PLOT.top + PLOT.height + 18}" text-anchor="middle">${shortNumber(tick)}</text>`
    }),
    `<path class="axis" d="M${PLOT.left} ${PLOT.top}v${PLOT.height}h${PLOT.width}"/>`,
    `<text x="${middle}" y="${PLOT.top + PLOT.height + 36}" text-anchor="middle">${escaped(panel.xLabel)}</text>`,
    `<text x="${PLOT.left}" y="${PLOT.top - 6}" text-anchor="start">${escaped(panel.yLabel)}</text>`,
    ...panel.series.map((series) =>
      curveOf(series, names.indexOf(series.name), { x, y }),
    ),
  ].join('\n')
}

const yScale = (values: readonly number[]): Scale => {
  const least = Math.min(...values)
  return least > 0 && Math.max(...values) / least >= LOG_FROM
    ? logScale(values)
    : linearScale(values)
}

interface Scales {
  readonly x: Scale
  readonly y: Scale
}

const curveOf = ({ name, points }: Series, index: number, { x, y }: Scales): string => {
  const sorted = [...points].sort((a, b) => a.x - b.x)
  const line = sorted.map((point) => `${xOf(x, point.x)} ${yOf(y, point.y)}`).join('L')
  const marks = sorted.map(
    (point) =>
      `<g transform="translate(${xOf(x, point.x)} ${yOf(y, point.y)})">${markOf(index)}<title>${escaped(name)}, ${shortNumber(point.x)}: ${shortNumber(point.y)}</title></g>`,
  )
  return `<path class="curve" ${strokeOf(index)} d="M${line}"/>${marks.join('')}`
}

const legendOf = (name: string, index: number, y: number): string => {
  const x = 24 + index * 150
  return `<g transform="translate(${x} ${y})"><path class="curve" ${strokeOf(index)} d="M0 0h28"/><g transform="translate(14 0)">${markOf(index)}</g><text x="36" y="4">${escaped(name)}</text></g>`
}

const colourOf = (index: number): string => COLOURS[index % COLOURS.length] ?? '#000'

const strokeOf = (index: number): string =>
  `stroke="${colourOf(index)}" stroke-dasharray="${DASHES[index % DASHES.length] ?? ''}"`

/** A circle, a square, a triangle, and again. */
const markOf = (index: number): string => {
  const fill = `fill="${colourOf(index)}"`
  switch (index % 3) {
    case 0:
      return `<circle r="4" ${fill}/>`
    case 1:
      return `<rect x="-4" y="-4" width="8" height="8" ${fill}/>`
    default:
      return `<path d="M0 -5L5 4h-10z" ${fill}/>`
  }
}

const xOf = (scale: Scale, value: number): number =>
  round(PLOT.left + scale.at(value) * PLOT.width)

const yOf = (scale: Scale, value: number): number =>
  round(PLOT.top + (1 - scale.at(value)) * PLOT.height)

const round = (value: number): number => Math.round(value * 10) / 10

const escaped = (text: string): string =>
  text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`)
