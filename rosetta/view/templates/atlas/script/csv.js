/** Tables as CSV (RFC 4180): numbers as they were given, nothing where there is none. */
(() => {
  function cell(value) {
    if (value === null) return "";
    const text = String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  /** @param {Object<string, any[]>} columns */
  function write(columns) {
    const names = Object.keys(columns);
    const count = atlas.count(columns);
    const lines = [names.map(cell).join(",")];
    for (let row = 0; row < count; row += 1) lines.push(names.map((name) => cell(columns[name][row])).join(","));
    return `${lines.join("\r\n")}\r\n`;
  }

  /** @param {string} name @param {string} content @param {string} [type] of media */
  function download(name, content, type = "text/csv") {
    const address = URL.createObjectURL(new Blob([content], { type: `${type};charset=utf-8` }));
    const link = atlas.h("a", { href: address, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  atlas.csv = { write, download };
})();
