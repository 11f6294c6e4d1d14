//! The pictures of the document.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Result, anyhow};
use plotters::{coord::types::RangedCoordf64, prelude::*};

use crate::{growth::Growth, programs::Contestant, requests::Operation};

const SIZE: (u32, u32) = (900, 420);
/// Told apart by those who do not see every colour (Okabe and Ito).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(0, 158, 115),
    RGBColor(120, 120, 120),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
];

/// Values of each contestant as the share of all that are at or below, over a scale of powers of ten.
pub(crate) fn distribution(
    file: &Path,
    title: &str,
    unit: &str,
    values: &BTreeMap<Contestant, Vec<f64>>,
) -> Result<()> {
    let all = || values.values().flatten().copied();
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let draw = || -> Result<(), DrawingAreaErrorKind<_>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d((low * 0.8..high * 1.2).log_scale(), 0.0..100.0)?;
        chart.configure_mesh().x_desc(unit).y_desc("% at or below").x_labels(12).light_line_style(WHITE).draw()?;
        for (contestant, values) in values {
            let colour = colour(*contestant);
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let share = |rank: usize| 100.0 * (rank + 1) as f64 / sorted.len() as f64;
            // As many points as can be seen.
            let step = (sorted.len() / 200).max(1);
            let points: Vec<(f64, f64)> = sorted
                .iter()
                .enumerate()
                .filter(|(rank, _)| (rank + 1) % step == 0)
                .map(|(rank, value)| (*value, share(rank)))
                .collect();
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(contestant.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        }
        legend(&mut chart)?;
        root.present()
    };
    draw().map_err(|error| anyhow!("{} cannot be drawn: {error}", file.display()))
}

/// The latency of each operation as the data grows.
pub(crate) fn growth(file: &Path, title: &str, what: &str, growth: &Growth) -> Result<()> {
    let sizes: Vec<f64> = growth.keys().map(|(_, size)| *size as f64).collect();
    let (low, high) = (sizes.iter().copied().fold(f64::INFINITY, f64::min), sizes.iter().copied().fold(0.0, f64::max));
    let top = growth.values().map(|cost| cost.latency).fold(0.0, f64::max);
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    let draw = || -> Result<(), DrawingAreaErrorKind<_>> {
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(56)
            .build_cartesian_2d((low..high * 1.2).log_scale(), 0.0..top * 1.4)?;
        chart.configure_mesh().x_desc(what).y_desc("ms").light_line_style(WHITE).draw()?;
        for (operation, colour) in Operation::ALL.into_iter().zip(COLOURS.into_iter().step_by(3)) {
            let points: Vec<(f64, f64)> = growth
                .iter()
                .filter(|((of, _), _)| *of == operation)
                .map(|((_, size), cost)| (*size as f64, cost.latency))
                .collect();
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
                .label(operation.name())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        }
        legend(&mut chart)?;
        root.present()
    };
    draw().map_err(|error| anyhow!("{} cannot be drawn: {error}", file.display()))
}

type Chart<'a, X> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, RangedCoordf64>>;

fn legend<'a, X: Ranged<ValueType = f64>>(
    chart: &mut Chart<'a, X>,
) -> Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()
}

fn colour(contestant: Contestant) -> RGBColor {
    let place = Contestant::ALL.iter().position(|one| *one == contestant).unwrap_or_default();
    COLOURS.get(place).copied().unwrap_or(BLACK)
}
