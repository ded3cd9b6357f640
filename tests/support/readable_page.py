"""A script for a browser that finds texts with too little contrast."""

CONTRASTS = """
[...document.querySelectorAll('p, dt, dd, label, button, a, h1, h2, input, select, th, td, summary, strong, pre')]
.filter(one => one.checkVisibility()).map(one => {
  const luminance = text => {
    const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map(n => n / 255)
      .map(n => n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let behind = one;
  while (behind && /rgba\\(0, 0, 0, 0\\)|transparent/.test(getComputedStyle(behind).backgroundColor))
    behind = behind.parentElement;
  const colours = [getComputedStyle(one).color, getComputedStyle(behind || document.body).backgroundColor];
  const [a, b] = colours.map(luminance);
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), one.innerText || one.value];
}).filter(([contrast]) => contrast < 4.5)
"""
